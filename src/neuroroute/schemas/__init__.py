"""JSON Schemas: of types, as local engines take them, and to check values by. For tools and typed answers alike."""
