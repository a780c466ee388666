"""From a name to a folder, with a hub that is played by the test."""

import importlib
import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import save_file

from gemcut.checkpoint import find
from gemcut.checkpoint.find import download, find_checkpoint, find_drafter, pull_checkpoint
from gemcut.errors import BadOption, CheckpointNotFound, DownloadFailed, UnknownModel

E2B = "google/gemma-4-E2B-it"
http = importlib.import_module(
    errors.HTTPError.__module__.split(".")[0]
)  # the client that the hub's library uses


def write_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    save_file({"x": torch.ones(1)}, folder / "model.safetensors")
    return folder


class Hub:
    """Plays snapshot_download: what the cache holds, what the network answers, and what was asked."""

    def __init__(self, cached: Path | None, online: Path | Exception) -> None:
        self.cached = cached
        self.online = online
        self.downloads: list[str] = []

    def __call__(self, repo_id: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} < set(
            allow_patterns
        )
        if local_files_only:
            if self.cached is None:
                raise errors.LocalEntryNotFoundError("not cached")
            return str(self.cached)
        self.downloads.append(repo_id)
        if isinstance(self.online, Exception):
            raise self.online
        return str(self.online)


def play(monkeypatch: pytest.MonkeyPatch, cached: Path | None, online: Path | Exception) -> Hub:
    hub = Hub(cached, online)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    return hub


def refusal(kind: type[errors.HfHubHTTPError], status: int) -> errors.HfHubHTTPError:
    request = http.Request("GET", "https://huggingface.co/api/models/x")
    return kind(f"{status} Client Error", response=http.Response(status, request=request))


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = play(monkeypatch, None, AssertionError())
    assert find_checkpoint(str(write_model(tmp_path / "mine")), offline=False) == tmp_path / "mine"
    assert hub.downloads == []


def test_a_home_folder_may_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_model(tmp_path / "mine")
    assert find_checkpoint("~/mine", offline=True) == tmp_path / "mine"


def test_a_folder_named_like_a_hub_id_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "me/tuned")
    assert find_checkpoint("me/tuned", offline=False) == Path("me/tuned")


def test_the_name_of_a_size_wins_over_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "e2b")
    cached = write_model(tmp_path / "cache")
    play(monkeypatch, cached, AssertionError())
    assert find_checkpoint("e2b", offline=False) == cached
    assert find_checkpoint("./e2b", offline=False) == Path("e2b")


def test_a_model_that_is_cached_is_used_without_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = play(monkeypatch, write_model(tmp_path), AssertionError())
    assert find_checkpoint("e2b", offline=False) == tmp_path
    assert find_checkpoint("e2b", offline=True) == tmp_path
    assert hub.downloads == []


def test_a_model_that_is_not_cached_is_downloaded_and_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = play(monkeypatch, None, write_model(tmp_path))
    said: list[str] = []
    assert find_checkpoint("e2b", offline=False, progress=said.append) == tmp_path
    assert hub.downloads == [E2B]
    assert said == [
        f"downloading {E2B} from the hub; if it is interrupted, the next start goes on from there"
    ]


def test_any_hub_id_can_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = play(monkeypatch, None, write_model(tmp_path))
    assert find_checkpoint("someone/gemma-4-tuned_v1.1", offline=False) == tmp_path
    assert hub.downloads == ["someone/gemma-4-tuned_v1.1"]


def test_a_download_that_was_interrupted_is_not_taken_for_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_text("{}")
    (half / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x": "model-00001-of-00001.safetensors"}})
    )
    hub = play(monkeypatch, half, write_model(tmp_path / "whole"))
    assert find_checkpoint("e2b", offline=False) == tmp_path / "whole"
    assert hub.downloads == [E2B]


def test_a_download_that_stopped_before_the_tokenizer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = write_model(tmp_path / "half")
    (half / "tokenizer.json").unlink()
    hub = play(monkeypatch, half, write_model(tmp_path / "whole"))
    assert find_checkpoint("e2b", offline=False) == tmp_path / "whole"
    assert hub.downloads == [E2B]


def test_offline_never_asks_the_network_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = play(monkeypatch, None, AssertionError())
    message = f"{E2B} is not whole in the hub's cache.*downloads are off; .* gemcut pull e2b"
    with pytest.raises(DownloadFailed, match=message):
        find_checkpoint("e2b", offline=True)
    assert hub.downloads == []


REFUSALS: dict[str, tuple[Exception, str]] = {
    "gated": (
        refusal(errors.GatedRepoError, 403),
        f"accept the license at https://huggingface.co/{E2B}, then log in with: hf auth login",
    ),
    "unknown": (
        refusal(errors.RepositoryNotFoundError, 404),
        f"the hub has no model {E2B}, or a private one",
    ),
    "no network": (
        errors.LocalEntryNotFoundError("Got: ConnectError\nPlease check your internet connection"),
        f"cannot reach the hub for {E2B}, .* check the network and HF_HUB_OFFLINE, or give the path",
    ),
    "broken connection": (
        http.ReadTimeout("timed out"),
        r"downloading .* failed \(ReadTimeout: timed out\); start it again to go on from there",
    ),
    "full disk": (OSError(28, "No space left on device"), r"failed \(OSError: .*No space left on device\)"),
    "server down": (refusal(errors.HfHubHTTPError, 503), "failed .*503"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_failed_download_says_what_to_do_in_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, message = REFUSALS[name]
    play(monkeypatch, None, error)
    with pytest.raises(DownloadFailed, match=message) as caught:
        find_checkpoint("e2b", offline=False)
    assert "\n" not in str(caught.value)


def test_an_interrupt_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub, "snapshot_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(E2B)


def test_a_hub_model_without_weights_for_us_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    play(monkeypatch, None, tmp_path)
    with pytest.raises(CheckpointNotFound, match="has no model.safetensors"):
        find_checkpoint("someone/gguf-only", offline=False)


def test_without_a_network_the_real_library_ends_in_our_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadFailed, match="cannot reach the hub"):
        find_checkpoint("e2b", offline=False)
    with pytest.raises(DownloadFailed, match="downloads are off"):
        find_checkpoint("e2b", offline=True)


def test_nano_is_the_packages_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(find.__file__).parents[1] / "nano" == find.PACKAGED_NANO
    monkeypatch.setattr(find, "PACKAGED_NANO", write_model(tmp_path / "nano"))
    assert find_checkpoint("nano", offline=True) == tmp_path / "nano"


@pytest.mark.parametrize("config", [True, False])
def test_an_untrained_nano_says_how_to_train_it(
    config: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "PACKAGED_NANO", tmp_path)
    if config:
        (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointNotFound, match="no trained nano; train it with: python -m recipes.nano"):
        find_checkpoint("nano", offline=True)


def test_a_folder_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointNotFound, match=f"{tmp_path} has no config.json; name a folder with a model"
    ):
        find_checkpoint(str(tmp_path), offline=True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointNotFound, match=f"{tmp_path} has no model.safetensors"):
        find_checkpoint(str(tmp_path), offline=True)


def test_a_file_is_no_folder_but_a_gguf_file_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "x.bin").touch()
    with pytest.raises(
        CheckpointNotFound, match="x.bin is a file; name the folder of a model, or a .gguf file"
    ):
        find_checkpoint(str(tmp_path / "x.bin"), offline=True)
    (tmp_path / "x.gguf").touch()
    assert find_checkpoint(str(tmp_path / "x.gguf"), offline=True) == tmp_path / "x.gguf"


@pytest.mark.parametrize(
    "source",
    ["/no/such/folder", "./absent", "a/b/c", "../absent/x", "~nobody-of-that-name/x", f"{'long' * 99}/x"],
)
def test_a_path_that_is_not_there_says_so(source: str) -> None:
    with pytest.raises(CheckpointNotFound, match=f"there is no folder {source}"):
        find_checkpoint(source, offline=False)


@pytest.mark.parametrize(
    "source", ["a--b/c", "-a/b", "a/b.git", "a/b-", "ä/ö", f"a/{'b' * 97}", f"{'a' * 97}/b"]
)
def test_what_the_hub_takes_for_no_name_is_not_asked_for(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's library raised its own error for these, with a traceback."""
    hub = play(monkeypatch, None, AssertionError())
    with pytest.raises(CheckpointNotFound, match=f"there is no folder {source}"):
        find_checkpoint(source, offline=False)
    assert hub.downloads == []


@pytest.mark.parametrize("source", ["e3b", "", "gemma four", "a whole question " * 30])
def test_a_name_of_nothing_lists_the_sizes(source: str) -> None:
    with pytest.raises(UnknownModel, match=f"no model '{source}': give one of nano, e2b"):
        find_checkpoint(source, offline=False)


def test_pulling_asks_the_hub_even_where_the_model_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = play(monkeypatch, write_model(tmp_path / "old"), write_model(tmp_path / "new"))
    assert pull_checkpoint("e2b") == tmp_path / "new"
    assert hub.downloads == [E2B]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_pulling_replaces_a_damaged_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache trusts a file that is there; one that a crash cut short would stay so for ever."""
    blob, snapshot = tmp_path / "blobs/abc", write_model(tmp_path / "snapshots/1")
    blob.parent.mkdir()
    blob.write_bytes(b"cut short")
    (snapshot / name).unlink()
    (snapshot / name).symlink_to(blob)
    hub = Hub(snapshot, snapshot)

    def answer(*args: Any, **options: Any) -> str:
        folder = hub(*args, **options)
        if not (snapshot / name).exists():
            write_model(snapshot)
        return folder

    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    assert pull_checkpoint("e2b") == snapshot
    assert hub.downloads == [E2B, E2B]
    assert not blob.exists()


def test_what_is_not_on_the_hub_cannot_be_pulled(tmp_path: Path) -> None:
    for source in ("nano", str(write_model(tmp_path))):
        with pytest.raises(
            BadOption, match="is not on the hub but in .*; pull a size such as e2b, or a hub id"
        ):
            pull_checkpoint(source)


def test_the_drafter_of_a_size_is_its_assistant_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole without a tokenizer: it reads its target's ids."""
    folder = write_model(tmp_path / "cache")
    (folder / "tokenizer.json").unlink()
    asked: list[str] = []

    def cached(repo_id: str, **_: Any) -> str:
        asked.append(repo_id)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert find_drafter("e2b", offline=True) == folder
    assert asked == [f"{E2B}-assistant"]


def test_a_drafter_may_lie_in_a_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "drafter")
    assert find_drafter(str(folder), offline=True) == folder


def test_nano_s_drafter_lies_in_the_package_or_is_to_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "PACKAGED_NANO", tmp_path)
    with pytest.raises(CheckpointNotFound, match="python -m recipes.nano drafter"):
        find_drafter("nano", offline=True)
    folder = write_model(tmp_path / "drafter")
    assert find_drafter("nano", offline=True) == folder
