"""What every domain stands on: settings, database, errors, logs. Knows no domain."""
