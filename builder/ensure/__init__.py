"""`ensure`: for every artefact an engine that fits this device, built and proven before it is served."""
