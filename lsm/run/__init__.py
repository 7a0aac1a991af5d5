"""What every script needs: constants, paths, files handed on with their records, and work side by side."""
