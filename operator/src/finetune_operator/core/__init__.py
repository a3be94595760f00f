"""What both kinds share: plans, conditions, names, labels, owners. Pure; knows no cluster and no clock."""
