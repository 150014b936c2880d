"""The hub: streams, rings, renditions, who may publish and who watches. Knows no protocol."""
