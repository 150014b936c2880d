"""The pipe between the appliance and its capture workers: our own types, length-capped frames."""
