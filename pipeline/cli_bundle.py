"""The verbs of bundles: `inspect`, `verify` and `diff`."""

import typer

from longwatch.pipeline.cli_command import AsJson, BundlePath, epilog, execute

bundle = typer.Typer(
    name="bundle",
    help="Look at bundles, check them, compare two.",
    short_help="Look at bundles, check them, compare two.",
    epilog=epilog("longwatch bundle inspect bundles/app"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@bundle.command(short_help="Say what a bundle is.", epilog=epilog("longwatch bundle inspect bundles/app --json"))
def inspect(context: typer.Context, bundle: BundlePath, as_json: AsJson = False) -> int:
    """Say what a bundle is: digest, network, files, and how its graphs compared with its weights."""
    return execute(context, "bundle_inspect", bundle=bundle, as_json=as_json)


@bundle.command(short_help="Check a bundle through and through.", epilog=epilog("longwatch bundle verify bundles/app"))
def verify(context: typer.Context, bundle: BundlePath) -> int:
    """Check every digest and rule, read every part, open every graph and score with it; needs no torch."""
    return execute(context, "bundle_verify", bundle=bundle)


@bundle.command(short_help="Compare two bundles.", epilog=epilog("longwatch bundle diff bundles/a bundles/b"))
def diff(context: typer.Context, bundle: BundlePath, other: BundlePath, as_json: AsJson = False) -> int:
    """Say in what two bundles differ; ends with 0 where they are the same, with 1 where not."""
    return execute(context, "bundle_diff", bundle=bundle, other=other, as_json=as_json)
