"""`innkeeper doctor --security`: what of an installation is not as docs/threat-model.md has it. Only looks: nothing is
made, closed or changed by a check."""
