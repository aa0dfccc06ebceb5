"""The embedded street scenes, one idea per file: layout, light, ground, houses, objects."""
