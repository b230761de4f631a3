"""What the data of any task needs: reading images, drawing shapes, making batches."""
