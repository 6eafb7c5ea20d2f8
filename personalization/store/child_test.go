package store

func child(what string) {}
