"""Text to image, image to image and inpainting with diffusers' pipelines.

engine        loads a pipeline and runs it
step_watch    progress and previews at each step, and the end of a run that nobody waits for
plan          from a request to a pipeline's arguments, or to an error
inputs        input pictures and masks, as a pipeline takes them
fields        the request fields that are refused or limited
families      the pipelines of each model family, and how they differ
previews      pictures from latents, without the decoder
lora          LoRA adapters of one request
lora_hotswap  the same for compiled pipelines
"""
