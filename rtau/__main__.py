"""`python -m rtau`: the same as the command `rtau`."""

from .cli import main

if __name__ == "__main__":
    main()
