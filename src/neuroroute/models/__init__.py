"""The models of a server: listed, loaded, unloaded, downloaded; no completion is run for it."""
