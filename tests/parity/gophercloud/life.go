// The life of a snapshot with gophercloud, unmodified. Who runs it writes to the volume and reads from it: after each
// line "attached URI" it does so, and says by a line on standard input that it is done.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack"
	"github.com/gophercloud/gophercloud/openstack/blockstorage/extensions/volumeactions"
	"github.com/gophercloud/gophercloud/openstack/blockstorage/v3/attachments"
	"github.com/gophercloud/gophercloud/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/openstack/blockstorage/v3/volumes"
)

const waitSeconds = 20

var input = bufio.NewReader(os.Stdin)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func isGone(err error) bool {
	var missing gophercloud.ErrDefault404
	return errors.As(err, &missing)
}

// until waits for a status; "" is that there is nothing any more.
func until(status string, find func() (string, error)) {
	must(gophercloud.WaitFor(waitSeconds, func() (bool, error) {
		found, err := find()
		if status == "" {
			if isGone(err) {
				return true, nil
			}
			return false, err
		}
		time.Sleep(20 * time.Millisecond)
		return found == status, err
	}))
}

// served attaches a volume, lets the other side do its part with it, and detaches it.
func served(client *gophercloud.ServiceClient, id string, meanwhile func()) {
	made, err := attachments.Create(client, attachments.CreateOpts{
		VolumeUUID:   id,
		InstanceUUID: "8c4f3cd3-fe5b-4059-922d-08b1ea8f5808", // Cinder too refuses what the library sends without one
		Connector: map[string]interface{}{"host": "go", "ip": "127.0.0.1", "platform": "x86_64", "os_type": "linux2",
			"multipath": false, "mode": "rw", "initiator": "iqn.test"},
	}).Extract()
	must(err)
	must(attachments.Complete(client, made.ID).ExtractErr())
	fmt.Println("attached", made.ConnectionInfo["uri"])
	meanwhile()
	must(attachments.Delete(client, made.ID).ExtractErr())
	until("available", volumeStatus(client, id))
}

// theOtherSide waits for the other side's word.
func theOtherSide() {
	if _, err := input.ReadString('\n'); err != nil {
		log.Fatal(err)
	}
}

func volumeStatus(client *gophercloud.ServiceClient, id string) func() (string, error) {
	return func() (string, error) {
		found, err := volumes.Get(client, id).Extract()
		if err != nil {
			return "", err
		}
		return found.Status, nil
	}
}

func snapshotStatus(client *gophercloud.ServiceClient, id string) func() (string, error) {
	return func() (string, error) {
		found, err := snapshots.Get(client, id).Extract()
		if err != nil {
			return "", err
		}
		return found.Status, nil
	}
}

func snapshot(client *gophercloud.ServiceClient, volume string) *snapshots.Snapshot {
	made, err := snapshots.Create(client, snapshots.CreateOpts{
		VolumeID: volume, Name: "go", Force: true, Metadata: map[string]string{"k": "v"},
	}).Extract()
	must(err)
	until("available", snapshotStatus(client, made.ID))
	return made
}

func main() {
	log.SetFlags(log.Lshortfile)
	options, err := openstack.AuthOptionsFromEnv()
	must(err)
	provider, err := openstack.AuthenticatedClient(options)
	must(err)
	client, err := openstack.NewBlockStorageV3(provider, gophercloud.EndpointOpts{Region: "RegionOne"})
	must(err)
	client.Microversion = "3.44"

	volume, err := volumes.Create(client, volumes.CreateOpts{Size: 1, Name: "go"}).Extract()
	must(err)
	until("available", volumeStatus(client, volume.ID))

	var taken *snapshots.Snapshot
	served(client, volume.ID, func() {
		theOtherSide() // it has written
		taken = snapshot(client, volume.ID)
		fmt.Println("taken", taken.ID)
		theOtherSide() // it has written over it
	})

	pages, err := snapshots.List(client, snapshots.ListOpts{VolumeID: volume.ID}).AllPages()
	must(err)
	listed, err := snapshots.ExtractSnapshots(pages)
	must(err)
	if len(listed) != 1 || listed[0].ID != taken.ID || listed[0].Metadata["k"] != "v" {
		log.Fatalf("the list is %v", listed)
	}

	dup, err := volumes.Create(client, volumes.CreateOpts{Size: 2, SnapshotID: taken.ID, Name: "copy"}).Extract()
	must(err)
	until("available", volumeStatus(client, dup.ID))
	served(client, dup.ID, theOtherSide) // it has read

	must(volumeactions.ExtendSize(client, volume.ID, volumeactions.ExtendSizeOpts{NewSize: 3}).ExtractErr())
	until("available", volumeStatus(client, volume.ID))
	if extended, err := volumes.Get(client, volume.ID).Extract(); err != nil || extended.Size != 3 {
		log.Fatal("it was not extended: ", err)
	}

	must(snapshots.Delete(client, taken.ID).ExtractErr())
	until("", snapshotStatus(client, taken.ID))
	for _, id := range []string{volume.ID, dup.ID} {
		must(volumes.Delete(client, id, volumes.DeleteOpts{}).ExtractErr())
		until("", volumeStatus(client, id))
	}
	fmt.Println("done")
}
