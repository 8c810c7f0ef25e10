"""All SQL of the identity tables, one module per resource."""
