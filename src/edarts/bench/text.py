"""The table that `edarts bench` prints. Nothing here imports torch."""

from edarts.bench.report import BenchReport, BenchRow, LedgerReport, Machine

HEAD = (
    f"{'':24}{'seconds':>20}{'':8}{'MiB':>17}{'':8}{'error':>9}{'rounding':>10}{'images/s':>10}"
    f"{'GFLOP/s':>9}",
    f"{'':24}{'textbook':>10}{'ours':>10}{'ratio':>8}{'textbook':>9}{'ours':>8}{'ratio':>8}",
)


def text(report: BenchReport | LedgerReport) -> str:
    """The report in lines: the machine first, then a line for each row."""
    lines = [_machine(report.machine)]
    if isinstance(report, LedgerReport):
        lines += [f"{row.what:48}{row.seconds:10.4f} s" for row in report.rows]
        return "\n".join(lines)
    lines += [*HEAD, *map(_comparison, report.rows)]
    lines += [
        f"{f'{row.what} {row.value}':24}{row.epoch_s:20.2f} s for an epoch"
        for row in report.scaling
    ]
    return "\n".join(lines)


def _comparison(row: BenchRow) -> str:
    return (
        f"{row.what:24}{row.textbook_s:10.3f}{row.ours_s:10.3f}{row.time_ratio:8.2f}"
        f"{row.textbook_mib:9.0f}{row.ours_mib:8.0f}{row.memory_ratio:8.2f}"
        f"{row.max_relative_error:9.0e}{row.rounding:10.0e}{row.images_per_second:10.0f}"
        f"{row.gflops:9.1f}"
    )


def _machine(machine: Machine) -> str:
    return (
        f"{machine.device}, {machine.threads} threads, torch {machine.torch},"
        f" numba {machine.numba}; a large matrix product: {machine.matrix_product_gflops} GFLOP/s"
    )
