"""How an application is called, and where: the modes."""
