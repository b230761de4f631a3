"""How fast the template and its projects are, each against its floor in the same run."""
