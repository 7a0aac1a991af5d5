"""What every script needs: constants, paths, files handed on with their records, how far a loop is, and work side by side."""
