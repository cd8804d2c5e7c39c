"""What every service needs to run: settings, life cycle, admin port, logs, clock. Nothing of the domain."""
