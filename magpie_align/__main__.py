import sys

from magpie_align.cli import main

if __name__ == "__main__":
    sys.exit(main())
