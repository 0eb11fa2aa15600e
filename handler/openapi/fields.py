"""What each field of a body does, in a sentence. docs/ has the pages of the surfaces."""

from __future__ import annotations

from collections.abc import Mapping

_SHARED: Mapping[str, str] = {
    "model": "A model that this worker holds, by slug or repository, in any letter case; without "
    "one, the endpoint's default.",
    "strict": "Fail where the model has no use for a field, instead of answering with `warnings`.",
    "stream": "Answer as server-sent events.",
    "n": "How many answers.",
    "seed": "The same seed and request give the same answer on the same machine.",
    "truncate": "Cut an input that is longer than the model reads, and say so in `truncated`; "
    "without it such an input is refused.",
}

_SAMPLING: Mapping[str, str] = {
    "temperature": "0 is greedy; without one, the model's own.",
    "top_p": "Sample from the likeliest tokens that have this probability together.",
    "top_k": "Sample from so many of the likeliest tokens; 0 or -1: from all.",
    "min_p": "Leave out tokens below this share of the likeliest one's probability.",
    "repetition_penalty": "Above 1, tokens of the prompt and the answer become less likely.",
    "frequency_penalty": "Lower a token by this for each time it was said.",
    "presence_penalty": "Lower a token by this once it was said.",
    "logit_bias": "By token id, what is added to its logit.",
    "max_tokens": "The longest answer, in tokens.",
    "min_tokens": "The shortest answer, in tokens.",
    "ignore_eos": "Go on past the token that ends an answer.",
    "stop": "Texts that end the answer; they are not part of it.",
    "stream_options": "`include_usage` adds an event with the token counts.",
    "response_format": "`text`, any JSON object, or JSON by a schema; the form is always kept.",
    "guided_json": "vLLM's word for an answer by a JSON schema.",
    "guided_regex": "An answer that matches a regular expression.",
    "guided_choice": "An answer that is one of these texts.",
    "lora": "The address of a LoRA adapter to answer with, of those that the operator allows.",
}

_TOOLS: Mapping[str, str] = {
    "tools": "Functions that the model may call.",
    "tool_choice": "`none`, `auto`, `required`, or the one function to call.",
    "parallel_tool_calls": "Whether an answer may hold several calls.",
}

_REASONING: Mapping[str, str] = {
    "reasoning_effort": "How much to reason before the answer, where the model has levels.",
    "reasoning": "Options of reasoning: `effort`, or `enabled`.",
    "thinking": "Whether to reason before the answer, in Anthropic's words.",
}

_CHAT: Mapping[str, str] = {
    **_SAMPLING,
    **_TOOLS,
    **_REASONING,
    "messages": "The conversation so far.",
    "image": "Pictures or PDFs beside the messages, for a model that sees; in any form.",
    "system": "A first message of the role `system`.",
    "logprobs": "Return the log probability of each token.",
    "top_logprobs": "How many other likely tokens to return with each.",
    "chat_template_kwargs": "Variables of the model's chat template, such as `enable_thinking`.",
    "continue_final_message": "The last message is the beginning of the answer.",
    "add_generation_prompt": "The opposite of `continue_final_message`.",
}

_COMPLETIONS: Mapping[str, str] = {
    **_SAMPLING,
    "best_of": "The same as `n`, where it is sent: every answer that is made is returned.",
    "prompt": "A text, up to 20 of them, or token ids.",
    "echo": "Repeat the prompt before the answer.",
    "logprobs": "How many likely tokens to return with each, with their log probabilities.",
}

_RESPONSES: Mapping[str, str] = {
    "include": "Further parts of the answer; those that there are none of add nothing.",
    "reasoning": _REASONING["reasoning"],
    **_TOOLS,
    "input": "A text, or messages, calls and their outputs.",
    "instructions": "What a system message says.",
    "max_output_tokens": "The longest answer, in tokens.",
    "metadata": "Comes back as it is.",
    "temperature": _SAMPLING["temperature"],
    "top_p": _SAMPLING["top_p"],
    "text": "`format` is the form of the answer.",
}

_MESSAGES: Mapping[str, str] = {
    **_TOOLS,
    "messages": "The conversation so far, as texts or content blocks.",
    "system": "What a system message says: a text or text blocks.",
    "max_tokens": _SAMPLING["max_tokens"],
    "temperature": _SAMPLING["temperature"],
    "top_p": _SAMPLING["top_p"],
    "top_k": _SAMPLING["top_k"],
    "stop_sequences": _SAMPLING["stop"],
    "thinking": "Whether to reason before the answer; without it, models that can choose do not.",
    "output_config": "`format` is the form of the answer, `effort` how much to reason.",
    "output_format": "The same as `output_config.format`.",
    "context_management": "Taken, and no turn is edited: the answer's `warnings` say so.",
}

_OCR: Mapping[str, str] = {
    "image": "The pages: pictures or PDFs, as URLs, data URIs or base64.",
    "pages": 'Which pages of a PDF to read: `"1-3,7"` or `[1, 2, 3, 7]`; without it, all.',
    "prompt": "What to do with each page, in place of the model's own words for reading it.",
    "language": "Left out with a warning: the models need not be told.",
    "format": "`json` needs a schema beside it.",
    "response_format": _SAMPLING["response_format"],
    "guided_json": _SAMPLING["guided_json"],
}

_IMAGES: Mapping[str, str] = {
    "prompt": "What to make, or how to change `image`.",
    "negative_prompt": "What to avoid, where the model reads it.",
    "n": "How many pictures.",
    "size": "`WIDTHxHEIGHT` in pixels, each from 64 to 2048, or `auto`.",
    "aspect_ratio": "`WIDTH:HEIGHT`, from 1:4 to 4:1, or `auto`, in the model's usual area.",
    "width": "Pixels, with `height`, in place of `size`.",
    "height": "Pixels, with `width`, in place of `size`.",
    "response_format": "`url` needs a bucket; without this, a URL where there is one.",
    "output_format": "`mp4` is for videos.",
    "output_compression": "The quality of jpeg and webp, in percent.",
    "steps": "Steps of denoising.",
    "guidance": "How closely to follow the prompt.",
    "seed": "Of the first picture, or one for each.",
    "image": "Input pictures: URLs, data URIs or base64.",
    "mask": "What of `image` to change: white, or transparent in OpenAI's form.",
    "strength": "How much of `image` to change.",
    "scheduler": "How to step, such as `euler` or `dpmpp_2m_karras`.",
    "scale": "How much larger to make a picture.",
    "background": "`transparent` keeps an alpha channel.",
    "loras": "Adapters that the operator allows.",
    "frames": "Of a video: how many.",
    "seconds": "Of a video: how long, in place of `frames`.",
    "fps": "Of a video: frames a second.",
    "audio": "Of a video: with sound.",
    "last_image": "Of a video: its last frame.",
    "partial_images": "How many previews a stream shows of each picture.",
}

_TRANSCRIPTION: Mapping[str, str] = {
    "audioUrl": "The recording: a URL, a data URI or base64.",
    "file": "The recording, in any format that FFmpeg reads; of a video its sound.",
    "language": "The language spoken, such as `en`, `pt-BR` or `german`.",
    "languages": "The languages to choose from.",
    "prompt": "What was said before, or how words are spelled.",
    "response_format": "`text`, `srt` and `vtt` come as plain text.",
    "temperature": "0 is greedy; of a list, each is tried where the one before went wrong.",
    "temperature_increment_on_fallback": "The step between tries; 0: no further try.",
    "beam_size": "Beams of the search.",
    "timestamp_granularities": "What gets times in `verbose_json`.",
    "include_ts": "Ask for times: `verbose_json` unless a format is named.",
    "word_timestamps": "Ask for the times of words.",
    "task": "`translate` writes English.",
    "translate": "The same as the task `translate`.",
    "vad_filter": "Skip what is no speech.",
    "vad_parameters": "How speech is found, in faster-whisper's words.",
    "chunking_strategy": "How speech is found, in OpenAI's words.",
    "hotwords": "Words to expect.",
    "keywords": "Words to expect, as a list.",
    "condition_on_previous_text": "Let each window read the text before it.",
    "hallucination_silence_threshold": "Skip text that would be in a silence of so many seconds.",
    "mode": "`batched` runs windows together; `sequential` one after another.",
    "include": "`logprobs` adds the tokens' log probabilities to a `json` answer.",
    "diarize": "Say who speaks: the same as `diarized_json`.",
    "num_speakers": "How many speakers there are.",
    "known_speaker_names": "Names of speakers whose voices are given.",
    "known_speaker_references": "A recording of each, in the order of their names.",
    "max_line_width": "Of subtitles: characters a line.",
    "max_line_count": "Of subtitles: lines at once.",
}

_SPEECH: Mapping[str, str] = {
    "input": "The text to speak; numbers, dates and abbreviations are read out.",
    "voice": "A voice of the model, by name or as `{id}`; one of OpenAI's means the default.",
    "instructions": "How to speak, for models that take instructions.",
    "response_format": "The format of the sound.",
    "speed": "1 is the voice's own; the pitch stays.",
    "stream_format": "`sse` answers as events; `audio` as the sound itself.",
    "stream": "Over HTTP the sound itself as it is made; behind the queue events.",
    "language": "A language that the model speaks, by tag or name; without one, the voice's own.",
    "sample_rate": "Of the sound, in Hz; without one, the model's own.",
    "max_new_tokens": "The longest sentence, for models that make sound by tokens.",
}

_MUSIC: Mapping[str, str] = {
    "caption": "Style, instruments, mood and voice.",
    "lyrics": "With marks such as `[verse]` and `[chorus]`; `[Instrumental]` for none.",
    "duration": "In seconds; a cover has its source's.",
    "bpm": "Beats a minute; without it, the model chooses, as for key and time signature.",
    "keyscale": "A note, `#` or `b`, and `major` or `minor`: `F# minor`.",
    "timesignature": "Beats of a bar.",
    "vocal_language": "Of the lyrics, by its tag: `en`.",
    "inference_steps": "Steps of the model; a distilled one is made for 8.",
    "guidance_scale": "How closely the caption is followed, for models that are not distilled.",
    "shift": "Spends more steps on the outline of a song, the larger it is.",
    "seed": "Of the first song, the others follow it; -1 = any.",
    "n": "The number of songs.",
    "format": "Of the files; without one, flac in a bucket and mp3 in an answer.",
    "task_type": "`cover` covers `src_audio`.",
    "reference_audio": "A recording whose timbre the song gets: a URL, a data URI or base64.",
    "src_audio": "A recording to cover.",
    "audio_cover_strength": "How far a cover keeps to its source.",
}

_EMBEDDINGS: Mapping[str, str] = {
    "input": "A text, up to 2,048 of them, or token ids.",
    "dimensions": "Cut vectors to so many numbers, where the model is made for it.",
    "encoding_format": "`base64` is shorter; `npy` stores a file in the bucket.",
    "output_dtype": "Vectors in fewer bytes.",
    "embedding_types": "`sparse` and `colbert` vectors, where the model has them.",
    "input_type": "`query` or `passage`, for models that tell them apart.",
    "token_encoding": "Whose token ids `input` holds.",
}

_RERANK: Mapping[str, str] = {
    "query": "What the documents are to answer.",
    "documents": "Texts, or objects that have a `text`.",
    "top_n": "Return so many of the best.",
    "return_documents": "Repeat each document's text.",
}

_OF_KIND: Mapping[str, Mapping[str, str]] = {
    "ChatRequest": _CHAT,
    "CompletionRequest": _COMPLETIONS,
    "ResponsesRequest": _RESPONSES,
    "MessagesRequest": _MESSAGES,
    "CountRequest": _MESSAGES,
    "OcrRequest": _OCR,
    "ImagesRequest": _IMAGES,
    "PictureRequest": _IMAGES,
    "TranscriptionRequest": _TRANSCRIPTION,
    "SpeechRequest": _SPEECH,
    "MusicRequest": _MUSIC,
    "EmbeddingsRequest": _EMBEDDINGS,
    "RerankRequest": _RERANK,
}


def described(kind: str, name: str) -> str | None:
    """Return the sentence about a field of a request type, None where there is none."""
    return _OF_KIND.get(kind, {}).get(name, _SHARED.get(name))
