"""What makes a node a good member of a fleet: IMDS, life cycle, Auto Scaling, CloudWatch."""
