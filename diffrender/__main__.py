"""Run the command `diffrender` as `python -m diffrender`."""

from diffrender.app.cli import main

if __name__ == "__main__":
    main()
