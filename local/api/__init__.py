"""The routes of workers, of RunPod, of the OpenAI proxy and of the gateway."""
