"""What every script needs: constants, paths, files handed on with their records, progress, and work side by side."""
