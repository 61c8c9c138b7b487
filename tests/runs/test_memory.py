"""The memory of a process, as Linux tells it."""

import mmap

from edarts.runs import memory


def test_pages_are_counted_on_their_first_use() -> None:
    count = 4096
    with mmap.mmap(-1, count * mmap.PAGESIZE) as fresh:
        fresh.madvise(mmap.MADV_NOHUGEPAGE)
        before = memory.pages()
        for place in range(0, len(fresh), mmap.PAGESIZE):
            fresh[place] = 1
        first = memory.pages() - before
        fresh[0] = 2
        assert first >= count
        assert memory.pages() - before - first < count // 10


def test_the_peak_is_counted_anew() -> None:
    memory.reset_peak()
    before = memory.mib("VmHWM")
    held = bytearray(b"1") * 2**26
    assert memory.mib("VmHWM") - before > 60
    del held
    memory.reset_peak()
    assert memory.mib("VmHWM") - before < 60
