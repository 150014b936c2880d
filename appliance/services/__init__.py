"""One folder or file per protocol and feature; strangers to each other but for the contract."""
