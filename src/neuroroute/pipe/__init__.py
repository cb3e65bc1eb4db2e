"""The pipe: a request goes down through small layers, a reply comes back up. One layer, one file."""
