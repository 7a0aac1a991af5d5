"""What maps say and how they are written: classes, cartography, trust, GIS layers."""
