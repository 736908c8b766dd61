"""`python -m yoyak.config`: write workflow/schemas/ and the tables of config/README.md anew."""

from yoyak.config.tables import write_all

if __name__ == "__main__":
    write_all()
