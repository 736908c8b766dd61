"""How and where steps run: plan, devices, workspace, provenance, terminal."""
