"""What the command line asks of argparse's private parts; it fails when argparse has it."""

import argparse

from kdna_zoo.cli.compat import option_names


def test_option_names() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--out")
    parser.add_argument_group("figures").add_argument("--batch")
    parser.add_mutually_exclusive_group().add_argument("--json")
    parser.add_argument("networks")
    assert option_names(parser) == ["-h", "--help", "-o", "--out", "--batch", "--json"]
    public = {name for name in dir(parser) if not name.startswith("_")}
    assert not {name for name in public if "option" in name or "actions" in name}, "it has it"
