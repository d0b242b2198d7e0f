"""Everything that depends on this computer: processor, accelerator, memory, processes, files."""
