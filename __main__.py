"""The entry of the command `hashlens` and of `python -m hashlens`."""

from hashlens.interrupts import end_on_interrupt


def main() -> None:
    """Run the command line; Ctrl-C ends it in one line even while it loads."""
    end_on_interrupt()  # before the line below, which takes half a second
    from hashlens.cli import main as run

    run()


if __name__ == "__main__":
    main()
