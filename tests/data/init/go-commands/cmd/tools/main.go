// Tools.
package main // the program

func main() {}
