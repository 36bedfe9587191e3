"""Room 2: networks, losses, trainers and the planner that nnU-Net runs."""
