// Command udpecho sends every datagram on port 7 back to its sender.
package main

import (
	"log"
	"net"
)

func main() {
	conn, err := net.ListenPacket("udp", ":7")
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := conn.WriteTo(buffer[:n], from); err != nil {
			log.Print(err)
		}
	}
}
