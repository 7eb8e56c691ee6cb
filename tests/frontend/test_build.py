import gzip
from pathlib import Path

import pytest

from frontend_reflex import build, serving


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<html>")
    monkeypatch.setattr(build, "BUNDLE", tmp_path)
    monkeypatch.setattr(build, "STAMP", tmp_path / "stamp")
    return tmp_path


def test_the_bundle_talks_to_the_origin_it_came_from(bundle: Path) -> None:
    script = bundle / "assets" / "reflex-env-x.js"
    packed = script.with_name(script.name + ".gz")
    script.write_text("var e={PING:`http://localhost:8000/ping`,EVENT:`ws://localhost:8000/_event`};")
    packed.write_bytes(gzip.compress(script.read_bytes()))
    build.free_of_origin()
    text = script.read_text()
    assert "localhost" not in text
    assert "PING:location.origin+`/ping`" in text
    assert 'EVENT:location.origin.replace(/^http/,"ws")+`/_event`' in text
    assert gzip.decompress(packed.read_bytes()).decode() == text


def test_a_bundle_without_the_known_address_is_refused(bundle: Path) -> None:
    with pytest.raises(build.BuildFailed, match="upgraded"):
        build.free_of_origin()


def test_nothing_is_exported_while_the_sources_stand(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_export", lambda: pytest.fail("it exported"))
    build.STAMP.write_text(build.fingerprint())
    assert build.build() is False


def test_an_export_leaves_the_committed_package_list_as_it_was(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "package.json"
    listed.write_text('{"name": "reflex"}')
    monkeypatch.setattr(build, "WEB", tmp_path / ".web")
    monkeypatch.setattr(build, "PACKAGES", listed)

    def export() -> None:
        listed.write_text("{}")
        raise build.BuildFailed("no Node")

    monkeypatch.setattr(build, "_export", export)
    with pytest.raises(build.BuildFailed, match="no Node"):
        build.build()
    assert listed.read_text() == '{"name": "reflex"}'


def test_a_changed_source_changes_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "page.py"
    source.write_text("a")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    before = build.fingerprint()
    assert build.fingerprint() == before
    source.write_text("b")
    assert build.fingerprint() != before


def test_serving_without_a_bundle_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BUNDLE", tmp_path)
    with pytest.raises(serving.BundleMissing, match=r"python -m frontend_reflex\.build"):
        serving.web_app()
