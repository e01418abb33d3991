"""The rounding model beside what is measured: sound orders of summation, and the figures of the pages."""
