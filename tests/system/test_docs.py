"""What the documents say is what happens."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from handler.contract import SURFACES
from models.catalog import CATALOG, GB
from models.images.diffusion.families import FAMILIES
from tests.conftest import ROOT, decoded, needs

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = [
    (page.name, block)
    for page in PAGES
    if page.name != "local.md"  # its examples need a platform: tests/system/test_docs_local.py
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
]
COMMANDS = re.findall(r"```sh\n\.venv/bin/(python -m handler .*?)\n```", README)


@pytest.mark.parametrize(("page", "block"), PYTHON, ids=[page for page, _ in PYTHON])
def test_python_examples_run(page, block):
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_command_examples_run(command):
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=ROOT, check=False, capture_output=True,
        text=True, env={**__import__("os").environ, "DEVICE": "cpu"},
    )  # fmt: skip
    answer = json.loads(done.stdout)
    if "error" in answer:
        [shown] = re.findall(r"```json\n(.*?)\n```", README)
        assert answer == json.loads(shown)
        assert done.returncode == 1
    else:
        assert done.returncode == 0
        assert answer["object"] == "list"


JOBS = re.findall(r"```json\n(\{\"input.*?)\n```", (ROOT / "docs/jobs.md").read_text())


@pytest.mark.anyio
@pytest.mark.parametrize("job", JOBS)
async def test_job_examples_run(worker, job):
    answer = decoded(await worker.answer(json.loads(job)))
    assert answer["choices"][0]["message"]["content"] == "Hello"


CHAT = re.findall(r"```json\n(\{\"input.*?)\n```", (ROOT / "docs/chat.md").read_text(), re.DOTALL)


@needs("SmolLM2_135M_Instruct")
@pytest.mark.anyio
@pytest.mark.parametrize("job", CHAT)
async def test_chat_examples_run(make_worker, job):
    answer = decoded(await make_worker(FAKE_ENGINES="0").answer(json.loads(job)))
    if "choices" not in answer:
        assert answer.get("output") or answer.get("content")
        return
    for choice in answer["choices"]:
        text = choice.get("text") or choice["message"]["content"]
        assert text or choice["message"]["tool_calls"]


EMBEDDINGS = re.findall(r"```json\n(\{\"input.*?)\n```", (ROOT / "docs/embeddings.md").read_text())


@needs("All_MiniLM_L6_v2")
@pytest.mark.anyio
@pytest.mark.parametrize("job", EMBEDDINGS)
async def test_embeddings_examples_run(make_worker, job):
    job = json.loads(job)
    worker = make_worker(FAKE_ENGINES="0", DTYPE="float32")
    answer = decoded(await worker.answer(job))
    assert answer["object"] == ("rerank" if "documents" in job["input"] else "list")
    if "documents" in job["input"]:
        [shown] = re.findall(
            r"```json\n(\{\"id.*?)\n```", (ROOT / "docs/embeddings.md").read_text()
        )
        result, expected = answer["results"], json.loads(shown)["results"]
        assert result[0]["relevance_score"] == pytest.approx(
            expected[0]["relevance_score"], abs=1e-3
        )
        assert {**answer, "id": "rerank-…", "results": expected} == json.loads(shown)


IMAGES_PAGE = (ROOT / "docs/images.md").read_text()
IMAGES = [
    *re.findall(r"```json\n(\{\"input.*?)\n```", IMAGES_PAGE),
    *((ROOT / f"examples/{name}.json").read_text() for name in ("upscale", "background")),
]


@pytest.mark.anyio
@pytest.mark.parametrize("job", IMAGES)
async def test_images_examples_run(make_worker, job):
    answer = decoded(await make_worker(FAKE_ENGINES="0").answer(json.loads(job)))
    assert all(picture["b64_json"] for picture in answer["data"])
    assert "warnings" not in answer


def test_the_page_on_images_is_the_catalogs():
    fields = SURFACES["images"].operations[0].request.model_fields
    for name in fields.keys() - {"model", "strict"}:
        assert f"`{name}`" in IMAGES_PAGE, name
    for row in CATALOG.of("images").rows:
        if row.slug.startswith("Tiny"):
            assert row.slug in IMAGES_PAGE
            continue
        bold = f"**{row.slug}**" if "cuda" in row.default_on else row.slug
        [line] = [one for one in IMAGES_PAGE.splitlines() if one.startswith(f"| {bold} |")]
        _, _, tasks, size, steps, guidance, more, licence, _ = (
            one.strip() for one in line.split("|")
        )
        assert set(tasks.split(", ")) == row.tasks
        assert licence == row.licence + (", gated" if row.gated else "")
        if "txt2img" not in row.tasks:
            continue
        megapixels = row.options["most_pixels"] // 1024**2
        assert size == f"{row.defaults['size']}, {megapixels} megapixels"
        assert (int(steps), float(guidance)) == (row.defaults["steps"], row.defaults["guidance"])
        family = FAMILIES[row.options["family"]]
        assert ("`negative_prompt`" in more) == (family.negative is not None)
        assert ("`guidance`" in more) == family.guided
        assert ("`scheduler`" in more) == bool(family.schedulers)
        assert all(f"`{name}`" in IMAGES_PAGE for name in family.schedulers)


def test_the_page_on_embeddings_names_every_field():
    page = (ROOT / "docs/embeddings.md").read_text()
    for operation in SURFACES["embeddings"].operations:
        for name in operation.request.model_fields.keys() - {"model", "strict"}:
            assert f"`{name}`" in page, name
    for row in CATALOG.of("embeddings").rows:
        assert row.slug in page


def test_the_page_on_transcription_names_every_field_and_model():
    page = (ROOT / "docs/transcribe.md").read_text()
    fields = SURFACES["transcribe"].operations[0].request.model_fields
    for name in fields.keys() - {"model", "strict", "include_ts"}:
        assert f"`{name}`" in page, name
    for row in CATALOG.of("transcribe").rows:
        assert row.slug in page


SPEECH_PAGE = (ROOT / "docs/speech.md").read_text()


def test_the_page_on_speech_names_every_field_voice_and_format():
    from models.sound.formats import FORMATS
    from models.speech.request import languages_of

    [operation] = SURFACES["speech"].operations
    kind = operation.request
    for name in {*kind.model_fields, *kind.aliases, *kind.translates} - {"model", "strict"}:
        assert f"`{name}" in SPEECH_PAGE, name
    for name, one in FORMATS.items():
        assert f"| {name} | {one.media_type} |" in SPEECH_PAGE
    for row in CATALOG.of("speech").rows:
        [line] = [one for one in SPEECH_PAGE.splitlines() if one.startswith(f"| {row.slug} |")]
        _, _, voices, languages, _, licence, _ = (one.strip() for one in line.split("|"))
        spoken = languages_of(row)
        slugs = [voice.slug for one in spoken for voice in one.voices]
        assert voices.split(", ") == list(dict.fromkeys(slugs))
        assert languages == ", ".join(f"{one.name} ({one.slug})" for one in spoken)
        assert licence == row.licence


MUSIC_PAGE = (ROOT / "docs/music.md").read_text()


def test_the_page_on_music_names_every_field_model_and_format():
    from handler.contract.music.foreign import UNSUPPORTED
    from models.music.delivery import LADDERS
    from models.sound.formats import FORMATS

    [operation] = SURFACES["music"].operations
    kind = operation.request
    for name in {*kind.model_fields, *kind.aliases, *kind.translates} - {"model", "strict"}:
        assert f"`{name}" in MUSIC_PAGE, name
    for name in FORMATS.keys() - {"pcm"}:
        [line] = [one for one in MUSIC_PAGE.splitlines() if one.startswith(f"| {name} |")]
        assert f"| {FORMATS[name].media_type} |" in line
        rates = ", ".join(str(bits // 1000) for bits in LADDERS.get(name, ()))
        assert rates in line
    for row in CATALOG.of("music").rows:
        [line] = [one for one in MUSIC_PAGE.splitlines() if one.startswith(f"| {row.slug} |")]
        assert line.split("|")[-2].strip() == row.licence
    assert {"audio_codes", "negative_prompt", "stream", "thinking"} <= UNSUPPORTED.keys()


@pytest.mark.anyio
async def test_music_examples_run(make_worker):
    for job in re.findall(r"```json\n(\{\"input.*?)\n```", MUSIC_PAGE):
        answer = decoded(await make_worker().answer(json.loads(job)))
        assert answer["b64_json"]
        assert "warnings" not in answer


@needs("Hibari_Heart")
@pytest.mark.anyio
async def test_speech_examples_run(make_worker):
    for job in re.findall(r"```json\n(\{\"input.*?)\n```", SPEECH_PAGE):
        answer = decoded(await make_worker(FAKE_ENGINES="0").answer(json.loads(job)))
        assert answer["b64_json"]
        assert "warnings" not in answer


def test_the_page_on_operations_names_every_error_metric_and_model():
    import handler.errors  # noqa: F401 - its errors are subclasses
    from handler.doors.metrics import Metrics
    from models.errors import QuartetError, RequestError, WorkerError
    from models.transcribe.audio.decoding import _REASONS

    def tree(kind: type) -> set[type]:
        return {kind}.union(*(tree(one) for one in kind.__subclasses__()))

    page = (ROOT / "docs" / "operations.md").read_text()
    ours = [one for one in tree(QuartetError) if one.__module__.startswith(("handler", "models"))]
    codes = {one.code for one in ours}
    assert {RequestError.code, WorkerError.code} < codes
    table = page.partition("## Errors")[2].partition("## How large")[0]
    assert set(re.findall(r"`([a-z_]+)`(?=[,| ])", table)) >= codes | set(_REASONS) - {"media_rate"}

    class Pool:
        budget_bytes = 0

        def models(self) -> list:
            return []

    families = {one.name for one in Metrics(Pool())._registry.collect()}
    named = set(re.findall(r"`(quartet_[a-z_]+)", page))
    assert {one.removesuffix("_total") for one in named} == {
        one for one in families if one.startswith("quartet_")
    }
    sizes = dict(re.findall(r"^\| (\w+) \| \w+ \| ([\d.]+) GB \|$", page, re.MULTILINE))
    rows = [row for row in CATALOG.rows if not row.slug.startswith("Tiny_")]
    assert {slug: float(size) for slug, size in sizes.items()} == {
        row.slug: round(row.memory_bytes / GB, 6) for row in rows
    }


def test_there_are_three_forms():
    assert len(JOBS) == 3


def test_the_readme_has_commands():
    assert len(COMMANDS) == 2


def test_the_table_of_models_is_the_catalogs():
    for row in (one for one in CATALOG.rows if one.surface in SURFACES):
        lines = [one for one in README.splitlines() if row.slug in one and one.startswith("| `")]
        assert all(line.startswith(f"| `{row.surface}`") for line in lines)
        if row == CATALOG.default(row.surface, "cuda"):
            assert f"**{row.slug}**" in lines[0]
        elif row.default_on:
            assert f" {row.slug}" in lines[0]
    for surface in SURFACES.values():
        [line] = [one for one in README.splitlines() if one.startswith(f"| `{surface.name}`")]
        assert f"`{surface.marks[0]}`" in line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md"]


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_anchors_lead_to_headings(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_prose_wraps_at_100_columns(page):
    untouched = ("|", "#", "![")  # tables, headings and pictures
    lines = prose(page).splitlines()
    too_long = [line for line in lines if len(line) > 100 and not line.startswith(untouched)]
    assert too_long == [], f"run: python scripts/wrap.py {page.relative_to(ROOT)}"


def test_the_direction_of_imports():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_contract_imports_no_engines_library():
    """The handler, the contract and the catalog load in an image that has none of them."""
    heavy = ["torch", "transformers", "diffusers", "ctranslate2", "faster_whisper", "tokenizers",
             "sentence_transformers", "PIL", "av", "numpy", "runpod"]  # fmt: skip
    code = f"""
import sys
for name in {heavy}:
    sys.modules[name] = None
import handler.command, models.warm.loader, builder.__main__
from handler.contract import SURFACES
from models.catalog import CATALOG
dict(SURFACES)
from importlib import import_module
for row in CATALOG.rows:
    import_module(row.engine.partition(":")[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_pictures_of_the_pages_are_there_and_small():
    """They are made by the page's own tests: PICTURES=docs/pictures ./scripts/test -m browser."""
    shown = {
        (page.parent / address).resolve()
        for page in PAGES
        for address in re.findall(r"!\[[^]]+\]\(([^):]+)\)", page.read_text(encoding="utf-8"))
    }
    assert len(shown) >= 2
    for path in shown:
        assert path.stat().st_size < 300_000, path
    assert set((ROOT / "docs" / "pictures").iterdir()) == shown
