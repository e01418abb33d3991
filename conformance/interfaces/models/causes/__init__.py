"""Why a quantity departs, if the data earn a cause."""
