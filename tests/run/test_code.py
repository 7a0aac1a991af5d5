import errno
import importlib
import sys

import pytest

from lsm.run import code


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A stage that uses lsm.a, which uses lsm.b; lsm.c stands apart."""
    (tmp_path / "lsm").mkdir()
    (tmp_path / "stage.py").write_text('"""A stage."""\nfrom lsm.a import f\n\nprint(f())\n')
    (tmp_path / "lsm" / "a.py").write_text("from lsm import b\n\ndef f():\n    return b.g()  # why\n")
    (tmp_path / "lsm" / "b.py").write_text("def g():\n    return 1\n")
    (tmp_path / "lsm" / "c.py").write_text("def h():\n    return 1\n")
    monkeypatch.setattr(code, "PROJECT", tmp_path)
    code.code_of.cache_clear()
    yield tmp_path
    code.code_of.cache_clear()


def digest() -> str:
    code.code_of.cache_clear()
    return code.code_of("stage.py")


@pytest.mark.parametrize(("name", "text", "counts"), [
    ("lsm/b.py", "def g():\n    return 2\n", True),
    ("lsm/b.py", '"""Words."""\n\n\ndef g():\n    """More words."""\n    # and more\n    return (1)\n', False),
    ("lsm/c.py", "def h():\n    return 2\n", False),
    ("stage.py", "from lsm.a import f\n\nprint(f(), 1)\n", True)])
def test_what_counts_is_code_that_the_script_can_reach(project, name, text, counts):
    before = digest()
    (project / name).write_text(text)
    assert (digest() != before) == counts


def test_no_script_has_no_code(project):
    assert code.code_of("none.py") == ""


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_kept_code_that_cannot_be_read_is_compiled_anew(tmp_path, monkeypatch, ending):
    (tmp_path / "kept.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kept", raising=False)
    twice = importlib.import_module("kept").twice
    assert code.compiled(twice)(2) == 4
    (file,) = (tmp_path / "__pycache__").glob(f"*{ending}")
    file.write_bytes(b"")
    assert code.compiled(twice)(3) == 6
    kept = code.compiled(twice)
    assert kept(4) == 8
    assert sum(kept.stats.cache_hits.values()) == 1


def test_a_full_disk_keeps_nothing(tmp_path, monkeypatch):
    (tmp_path / "full.py").write_text("def half(x):\n    return x / 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    half = importlib.import_module("full").half

    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert code.compiled(half)(3) == 1.5
    assert not [*tmp_path.rglob("*.nb?")]
