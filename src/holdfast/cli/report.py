"""`holdfast report`: from birth data to a PDF in one command, with everything in this process."""

import typer

from holdfast.cli.options import takes
from holdfast.cli.report_options import ReportOptions
from holdfast.cli.session import session_of


@takes(ReportOptions)
def report(context: typer.Context, options: ReportOptions) -> None:
    """Write a report: runs, shows progress, and resumes where it was when given again.

    The same command always means the same report: kind, birth data, --days, --answers and the
    file find it again, on any later day. Finished model calls are never made again. Another
    --start or another --out is another report.
    """
    from holdfast.cli.report_order import order_from
    from holdfast.cli.report_run import run_report
    from holdfast.wiring import run_async

    session = session_of(context)
    order = order_from(options)
    raise typer.Exit(run_async(run_report(session, order, options)))
