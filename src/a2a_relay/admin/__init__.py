"""Administration: tenants, keys and what is settled about them, for operators and tenants' own admins."""
