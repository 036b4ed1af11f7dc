"""All commands together, the global options, and how errors end the process."""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import (
    budget,
    doctor,
    jobs_change,
    jobs_look,
    keys,
    migrate,
    orders,
    orders_customer,
    prune,
    report,
    report_experiment,
    sealing,
    serve,
    subject,
    webhooks,
    worker,
)
from holdfast.cli.exits import ExitStatus, status_of_error
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError
from holdfast.settings import overridden

program = typer.Typer(
    name="holdfast",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
_jobs = typer.Typer(help="Look at jobs and steer them.", no_args_is_help=True, rich_markup_mode=None)
_sealing = typer.Typer(
    help="Make keys that seal data at rest.", no_args_is_help=True, rich_markup_mode=None
)

_keys = typer.Typer(
    help="Make, list and revoke keys to the service.", no_args_is_help=True, rich_markup_mode=None
)
_budget = typer.Typer(
    help="Limit what a tenant's jobs spend in a period.", no_args_is_help=True, rich_markup_mode=None
)
_webhooks = typer.Typer(
    help="Tell others of the ends of jobs.", no_args_is_help=True, rich_markup_mode=None
)
_orders = typer.Typer(
    help="Find the shop's orders, and help them on.", no_args_is_help=True, rich_markup_mode=None
)
_subject = typer.Typer(
    help="Give or delete what is on record of one person.", no_args_is_help=True, rich_markup_mode=None
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - called by typer with the flag
    if wanted:
        sys.stdout.write(f"holdfast {installed_version('holdfast')}\n")
        raise typer.Exit


@program.callback()
def configure(
    context: typer.Context,
    *,
    app: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:ATTRIBUTE",
            help="The application whose jobs to run; the built-in reports by default.",
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where state is kept; .holdfast by default."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The store; sqlite:///HOME/holdfast.db by default."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A service to speak to instead; HOLDFAST_URL by default."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Durable jobs for long AI work: they keep their place, whatever dies."""
    level = "debug" if debug else None
    if url is not None and store is not None:
        raise typer.BadParameter("give one of both", param_hint="'--url' / '--store'")
    if url is None and (store is not None or home is not None):
        # What was typed now wins over what the environment says for always.
        url = ""
    context.with_resource(overridden(app=app, home=home, store=store, url=url, log_level=level))
    context.obj = Session(debug=debug)


program.command("report")(report.report)
program.command("report-experiment")(report_experiment.report_experiment)
program.add_typer(_jobs, name="jobs")
program.command("worker")(worker.worker)
program.command("serve")(serve.serve)
program.add_typer(_keys, name="keys")
_keys.command("new")(keys.new_key)
_keys.command("list")(keys.list_keys)
_keys.command("revoke")(keys.revoke_key)
program.add_typer(_budget, name="budget")
_budget.command("set")(budget.set_budget)
_budget.command("list")(budget.list_budgets)
program.add_typer(_webhooks, name="webhooks")
_webhooks.command("add")(webhooks.add_webhook)
_webhooks.command("list")(webhooks.list_webhooks)
_webhooks.command("remove")(webhooks.remove_webhook)
_webhooks.command("rotate")(webhooks.rotate_secret)
_webhooks.command("deliveries")(webhooks.list_deliveries)
_webhooks.command("replay")(webhooks.replay_delivery)
program.add_typer(_orders, name="orders")
_orders.command("list")(orders.list_orders)
_orders.command("show")(orders.show_order)
_orders.command("check")(orders.check_order)
_orders.command("retry")(orders.retry_order)
_orders.command("resend")(orders.resend_mail)
_orders.command("refunded")(orders.flag_refund)
_orders.command("note")(orders.set_note)
_orders.command("export")(orders_customer.export_customer)
_orders.command("erase")(orders_customer.erase_customer)
program.command("doctor")(doctor.doctor)
program.command("migrate")(migrate.migrate)
program.add_typer(_sealing, name="sealing")
_sealing.command("new-key")(sealing.print_new_key)
program.command("prune")(prune.prune)
program.add_typer(_subject, name="subject")
_subject.command("export")(subject.export_subject)
_subject.command("erase")(subject.erase_subject)

for _name, _command in (
    ("list", jobs_look.list_jobs),
    ("show", jobs_look.show_job),
    ("watch", jobs_look.watch_job),
    ("output", jobs_look.print_output),
    ("artifact", jobs_look.save_artifact),
    ("submit", jobs_change.submit_job),
    ("cancel", jobs_change.cancel_job),
    ("retry", jobs_change.retry_job),
    ("fork", jobs_change.fork_job),
    ("signal", jobs_change.signal_job),
    ("budget", jobs_change.set_budget),
):
    _jobs.command(_name)(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    try:
        typer.main.get_command(program).main(args=list(arguments), prog_name="holdfast")
    except SystemExit as ended:
        return _flushed(ended.code if isinstance(ended.code, int) else int(bool(ended.code)))
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except HoldfastError as error:
        _tell(error, arguments)
        return status_of_error(error)
    except Exception as error:  # noqa: BLE001 - the last stop: nothing else would tell people
        _tell(error, arguments)
        return ExitStatus.FAILED
    return _flushed(ExitStatus.OK)


def _flushed(status: int) -> int:
    """Write what is buffered; a reader that has left is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _tell(error: Exception, arguments: Sequence[str]) -> None:
    """Tell of an error in one paragraph, with its traceback only where that is wanted."""
    from holdfast.cli.console import print_error, print_holdfast_error

    if _wants_traceback(arguments):
        traceback.print_exception(error)
    if isinstance(error, HoldfastError):
        print_holdfast_error(error)
        return
    print_error(
        f"unexpected {type(error).__name__}: {error}",
        "run the same command with --debug for the traceback; "
        "finished work is kept, so it can simply be run again",
    )


def _wants_traceback(arguments: Sequence[str]) -> bool:
    from holdfast.settings import load_settings

    if "--debug" in arguments:
        return True
    try:
        return load_settings().log_level == "debug"
    except HoldfastError:
        return False
