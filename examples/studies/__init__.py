"""What several studies share: runs that processes divide among themselves, and tables over seeds."""
