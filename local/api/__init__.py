"""The routes: workers', RunPod's, the OpenAI proxy's, the gateway's."""
