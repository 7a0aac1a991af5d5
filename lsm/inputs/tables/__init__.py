"""Tables as people and programs write them: unpacked, then read line by line."""
