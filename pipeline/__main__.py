"""``python -m pipeline``."""


def run() -> None:
    """The command line; Ctrl-C while it is still being read ends it as quietly as later."""
    try:
        from pipeline.cli import main
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    main()


if __name__ == "__main__":
    run()
