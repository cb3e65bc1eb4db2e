"""The wire, pure: what goes out as bytes, what comes in as types. No I/O, no clock."""
